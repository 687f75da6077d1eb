"""position.pkt is replaced in one step."""

from __future__ import annotations

import json
from pathlib import Path

from whimbrel.model.position import Position
from whimbrel.pipeline.packet import NAME, remove_packet, write_packet


def test_written_and_removed(tmp_path: Path) -> None:
    position = Position("postgres", "7", "0/10", (16,))
    write_packet(tmp_path / "m", "m", position, data_complete=False)
    write_packet(tmp_path / "m", "m", position, data_complete=True)
    content = json.loads((tmp_path / "m" / NAME).read_text())
    assert content["data_complete"] is True
    assert Position.from_json(json.dumps(content["position"])) == position
    assert [p.name for p in (tmp_path / "m").iterdir()] == [NAME]
    remove_packet(tmp_path / "m")
    remove_packet(tmp_path / "m")
    assert not (tmp_path / "m" / NAME).exists()
