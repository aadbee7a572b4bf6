"""Work in flight: amounts (tokens, blocks) that a router has sent to each candidate and not seen done."""


class WorkInFlight:
    """The sum of the open amounts by position, and each request's own."""

    def __init__(self, size: int) -> None:
        self.amounts = [0] * size
        """By position."""
        self._open: dict[tuple[int, int], int] = {}
        """By (request id, position)."""

    def grow(self, size: int) -> None:
        """Add amounts of 0 until there are ``size``."""
        self.amounts += [0] * (size - len(self.amounts))

    def add(self, position: int, request_id: int, amount: int) -> None:
        """Count what a request brings to a position."""
        self._open[request_id, position] = self._open.get((request_id, position), 0) + amount
        self.amounts[position] += amount

    def remove(self, position: int, request_id: int) -> int:
        """Count what a request has brought as done; return it, 0 if it was done before."""
        amount = self._open.pop((request_id, position), 0)
        self.amounts[position] -= amount
        return amount
