"""Response cache and single-flight execution: equal requests are answered by one run, from the cache or together.

Only for models whose config has ``response_cache { enable: true }``.

    single_flight.py   cache keys, leaders and followers, what is stored
    cache.py           the stored answers
"""
