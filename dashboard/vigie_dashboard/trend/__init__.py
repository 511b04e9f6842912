"""What the Trend view works out: periods and their buckets, averages, comparisons and downloads. Pure."""
