"""Histories of concurrent clients over kills and faults: one order explains every answer."""
