"""What an operator can do: one public function per verb, with the edges as its first argument."""
