"""Which blocks Slack takes, of those that are used here: kinds and limits. Pure."""

from typing import Any

MOST = 50


def fit(blocks: Any) -> bool:
    return isinstance(blocks, list) and len(blocks) <= MOST and all(map(_block_fits, blocks))


def _block_fits(block: dict[str, Any]) -> bool:
    elements = block.get("elements", [])
    match block.get("type"):
        case "section":
            return 0 < len(block["text"]["text"]) <= 3_000
        case "context":
            return 0 < len(elements) <= 10
        case "actions":
            ids = {element["action_id"] for element in elements}
            return 0 < len(ids) == len(elements) <= 25 and all(map(_button_fits, elements))
    return False


def _button_fits(element: dict[str, Any]) -> bool:
    return (
        element["type"] == "button"
        and element["text"]["type"] == "plain_text"
        and 0 < len(element["text"]["text"]) <= 75
        and len(element["action_id"]) <= 255
        and len(element["value"]) <= 2_000
        and element.get("style", "primary") in ("primary", "danger")
    )
