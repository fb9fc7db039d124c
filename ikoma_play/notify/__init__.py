"""Who is told when something fails or succeeds: severities and contacts, the ways to them, and an outbox that
keeps what could not be sent."""
