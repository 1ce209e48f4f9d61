"""Services that this one is compared with, each a program; `bench.service.contestants` starts them."""
