-- Notifications that are to be sent or were; what a way's address is stays in the inventory.

CREATE TABLE notifications (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    severity TEXT NOT NULL,
    contact TEXT NOT NULL,
    way TEXT NOT NULL,
    host TEXT NOT NULL,
    app TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    claimed DOUBLE PRECISION NOT NULL DEFAULT 0,
    sent DOUBLE PRECISION,
    error TEXT NOT NULL DEFAULT ''
);

CREATE INDEX notifications_by_time ON notifications (at);
