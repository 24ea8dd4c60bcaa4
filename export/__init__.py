"""Command lines that turn a checkpoint into files for phones, browsers and the Hub."""
