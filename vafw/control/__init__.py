"""Appliances configured over MQTT: what is desired is committed, published, applied as a transaction, and reported.

    controller ──commit──▶ ledger          the truth: one SQLite file, compare-and-set on generations
        │ publish (outbox)                 the broker: a cache that may be wiped at any time
        ▼
      broker ──desired──▶ agent ──apply──▶ appliance
        ▲                   │
        └──────reported─────┘              what runs, and why something else does not

`topics` says who may write and read what; `envelope` what a message is; `bus` hides the MQTT client; `broker_mosquitto`
and `broker_embedded` are two ways to have a broker. Only this package knows MQTT.
"""
