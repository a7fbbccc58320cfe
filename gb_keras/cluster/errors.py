"""What can go wrong with a cluster; apart, so that it is known without the packages for one."""


class ClusterError(RuntimeError):
    """What a cluster refused or could not do.

    Args:
        message: What happened and what to do about it.
        passing: Whether the same request may succeed a little later.
    """

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
