"""What can be measured: one table of metrics, the integers behind them, and how they are scraped."""
