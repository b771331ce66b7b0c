"""What tests share: servers to test, worlds to test in, peers to compare with, input to try."""
