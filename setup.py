"""Compiles the codecs where a compiler is at hand; without one the same files run as plain Python."""

import os

from setuptools import Extension, setup

CODECS = ["changes", "copyfields", "decimals", "mutationrows", "resultrows", "resultvalues", "tabtext", "textvalues"]


def extensions() -> list[Extension]:
    if os.environ.get("WHIMBREL_COMPILE") == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [Extension(f"whimbrel.codecs.{name}", [f"whimbrel/codecs/{name}.py"], optional=True) for name in CODECS]
    return list(cythonize(modules, language_level=3, build_dir="build/cython"))


setup(ext_modules=extensions())
