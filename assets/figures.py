"""Pictures for the asset pages, as PNG inside Markdown."""

from base64 import b64encode
from io import BytesIO

from matplotlib.figure import Figure


def as_markdown(figure: Figure, alt: str) -> str:
    """``figure`` as an image that is part of the text."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return f"![{alt}](data:image/png;base64,{b64encode(file.getvalue()).decode()})"
