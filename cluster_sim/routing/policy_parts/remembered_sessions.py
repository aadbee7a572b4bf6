"""Sessions and the candidates that served them last."""


class RememberedSessions:
    """The last position of each session, forgotten after a while without requests."""

    def __init__(self, keeps_ns: int = 0) -> None:
        """Forget a session that has sent nothing for ``keeps_ns``; 0 keeps all."""
        self._keeps_ns = keeps_ns
        self._last: dict[int, tuple[int, int]] = {}
        """(position, time) by session, the one that was used longest ago first."""

    def position(self, session_id: int, now_ns: int) -> int:
        """Return where the session's last request went, -1 if that is not known; session -1 is none."""
        last = self._last
        while self._keeps_ns and last:
            oldest = next(iter(last))
            if last[oldest][1] > now_ns - self._keeps_ns:
                break
            del last[oldest]
        return last[session_id][0] if session_id in last else -1

    def remember(self, session_id: int, position: int, now_ns: int) -> None:
        """Note where a request of a session goes; session -1 is none."""
        if session_id >= 0:
            self._last.pop(session_id, None)
            self._last[session_id] = (position, now_ns)
