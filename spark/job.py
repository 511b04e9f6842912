"""For spark-submit: `spark-submit spark/job.py --config processor.yaml`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from vigie_spark.job import main

if __name__ == "__main__":
    sys.exit(main())
