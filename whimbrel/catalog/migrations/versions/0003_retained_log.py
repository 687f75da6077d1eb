"""How much of its log a source keeps for an operation."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operation", sa.Column("retained_bytes", sa.BigInteger))
