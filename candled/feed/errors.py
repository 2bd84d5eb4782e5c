"""What keeps a feed from its work."""

from candled.errors import UserError


class FeedError(UserError):
    """A feed cannot do its work; the text says why and what to change."""


class UnknownSymbolError(FeedError):
    """A symbol that the exchange does not have."""


class SourceUnavailableError(FeedError):
    """The exchange's REST side did not answer, or not usefully: try again later."""


class UnreadableAnswerError(SourceUnavailableError):
    """The exchange's REST side answered this request with what makes no sense; it may answer others well."""


class SourceRefusedError(FeedError):
    """The exchange's REST side refused a request: asking again will not help."""


class KeyWantedError(SourceRefusedError):
    """The exchange's REST side answers this kind of request only to holders of an API key."""
