"""What snapshots and features can be about, and by which column it is known."""

__all__ = ["ENTITY_KEYS"]

ENTITY_KEYS = {
    "lead": "lead_id",
    "opportunity": "opportunity_id",
    "account": "account_id",
    "rep": "rep_id",
    "team": "team",
}
"""Entity → its key column. Customers are accounts."""
