"""Wire messages, compiled by `make protos` from the `.proto` files beside them."""
