"""Equal requests answered by one run: by what is kept of an earlier one, or along with one under way.

Only for models whose config has ``response_cache { enable: true }``.

    single_flight.py   which requests are equal, who waits for whom, what is kept
    cache.py           the answers that are kept
"""
