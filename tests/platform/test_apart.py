"""Services that run beside those that serve: nothing of theirs is published, shared or named the same."""

from __future__ import annotations

from typing import Any

from ikoma_play.platform.apart import apart, leads_to, names_database, with_database

CONFIG: dict[str, Any] = {
    "name": "shop",
    "services": {
        "web": {
            "image": "shop-web",
            "build": {"context": "/apps/shop/src"},
            "container_name": "shop",
            "ports": [{"published": "80", "target": 80}],
            "labels": {"traefik.enable": "true"},
            "restart": "unless-stopped",
            "environment": {"POSTGRES_DB": "shop_rehearse_1", "VIRTUAL_HOST": "shop.example.org"},
            "networks": {"platform": {"aliases": ["shop"]}, "default": None},
            "depends_on": {"cache": {"condition": "service_started"}},
            "network_mode": "service:cache",
            "volumes": [
                {"type": "bind", "source": "/srv/uploads", "target": "/uploads"},
                {"type": "bind", "source": "/apps/shop/src/public", "target": "/public"},
                {"type": "volume", "source": "data", "target": "/data"},
            ],
        },
        "cache": {"image": "redis:7", "deploy": {"replicas": 3}},
    },
    "networks": {"platform": {"name": "ikoma", "external": True}, "default": {"name": "shop_default"}},
    "volumes": {"data": {"name": "shop_data", "external": True}},
}


def test_nothing_of_what_serves_is_touched() -> None:
    made = apart(CONFIG, {"web": "sha256:1", "cache": "sha256:2"}, "/apps/shop")
    web, cache = made["services"]["rehearsal-web"], made["services"]["rehearsal-cache"]
    assert set(made["services"]) == {"rehearsal-web", "rehearsal-cache"}
    assert not {"ports", "container_name", "labels", "build", "deploy"} & (web.keys() | cache.keys())
    assert (web["image"], cache["image"], web["restart"]) == ("sha256:1", "sha256:2", "no")
    assert web["environment"] == {"POSTGRES_DB": "shop_rehearse_1"}
    assert web["networks"] == {"platform": None, "default": {"aliases": ["web"]}}
    assert web["depends_on"] == {"rehearsal-cache": {"condition": "service_started"}}
    assert web["network_mode"] == "service:rehearsal-cache"
    uploads, public, data = web["volumes"]
    assert uploads["read_only"] is True and "read_only" not in public and data["source"] == "data"
    assert made["volumes"] == {"data": {}}, "a volume that serves would be written into"
    assert made["networks"] == {"platform": {"name": "ikoma", "external": True}, "default": {}}


def test_what_is_built_anew_takes_no_name_that_serves() -> None:
    web = apart(CONFIG, {}, "/apps/shop")["services"]["rehearsal-web"]
    assert web["build"] and "image" not in web


def test_a_compose_file_that_names_the_database_itself_is_found_out() -> None:
    def config(**environment: str) -> dict[str, Any]:
        return {"services": {"web": {"environment": environment}, "idle": {}}}

    assert names_database(config(POSTGRES_DB="shop"), "shop") == ["web: POSTGRES_DB"]
    assert names_database(config(DATABASE_URL="postgresql://u:p@db:5432/shop?sslmode=off"), "shop") != []
    assert names_database(config(SPRING_DATASOURCE_URL="postgres://db/shop"), "shop") != []
    assert (
        names_database(config(POSTGRES_DB="shop_rehearse_1", TITLE="shop", URL="https://example.org/shop"), "shop")
        == []
    )
    assert leads_to("DB_NAME", "shop", "shop") and not leads_to("POSTGRES_DB", "shop2", "shop")
    assert with_database("postgresql://u:p@db:5432/shop?a=b", "x") == "postgresql://u:p@db:5432/x?a=b"
