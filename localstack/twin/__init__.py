"""The product's parts on one machine: real servers on free loopback ports."""
