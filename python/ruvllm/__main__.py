"""`python -m ruvllm` is `ruvllm`."""

from ruvllm.cli.main import main

if __name__ == "__main__":
    main()
