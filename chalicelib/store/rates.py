"""How many requests each token made in each minute, counted by all processes together."""

from chalicelib.store.table import Table, update

# A minute's count is of use for that minute; the rest is for DynamoDB's clock.
_KEPT_SECONDS = 600


class RateStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, token_id: str, minute: int, requests: int) -> int:
        """Count these too; how many there are now, everybody's included."""
        item = self._table.write(
            update(
                (f"RATE#{token_id}", str(minute)),
                {"expires": minute * 60 + _KEPT_SECONDS},
                expressions=("taken = if_not_exists(taken, :none) + :more",),
                none=0,
                more=requests,
            )
        )
        assert item is not None
        return int(item["taken"])
