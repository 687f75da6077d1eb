"""One folder per engine; ``registry`` finds them, ``protocols`` says what each may implement."""
