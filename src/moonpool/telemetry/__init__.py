"""What programs in sandboxes measure and log, by OTLP: kept for a while, to be asked for, and handed on where that is
configured."""
