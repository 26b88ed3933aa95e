"""The room of grpc."""
