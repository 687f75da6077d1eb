"""What a source keeps of its log for a migration that nobody follows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "held",
        sa.Column("migration", sa.String(64), sa.ForeignKey("migration.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("slot", sa.String(128), nullable=False),
        sa.Column("retained_bytes", sa.BigInteger, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("let_go_us", sa.BigInteger),
    )
