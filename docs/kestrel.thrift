// The interface that Kestrel's Thrift clients know: framed transport, binary protocol.
// docs/protocol.md says what the methods do here.

/** An item as `get` hands it out. */
struct Item {
  1: binary data
  /** What `confirm` and `abort` take; 0 if there is nothing to confirm. */
  2: i64 id
}

/** A queue's head and figures. */
struct QueueInfo {
  1: optional binary head_item
  2: i64 items
  3: i64 bytes
  4: i64 journal_bytes
  /** Milliseconds since the item that was removed last had been put. */
  5: i64 age
  6: i32 waiters
  7: i32 open_transactions
}

enum Status {
  NOT_CONFIGURED = 0
  QUIESCENT = 1
  READ_ONLY = 2
  UP = 3
}

service Kestrel {
  /** Puts items in order, up to the first that is refused; how many were stored. 0: they do not expire. */
  i32 put(1: string queue_name, 2: list<binary> items, 3: i32 expiration_msec = 0)

  /**
   * Takes items: what is there, or, with a timeout, until there are max_items or it is over.
   * With auto_abort_msec they return after that time unless they are confirmed.
   */
  list<Item> get(1: string queue_name, 2: i32 max_items, 3: i32 timeout_msec = 0, 4: i32 auto_abort_msec = 0)

  /** Removes items that were handed out for good; how many that were. */
  i32 confirm(1: string queue_name, 2: set<i64> ids)

  /** Gives items that were handed out back; how many that were. */
  i32 abort(1: string queue_name, 2: set<i64> ids)

  QueueInfo peek(1: string queue_name)

  void flush_queue(1: string queue_name)
  void flush_all_queues()
  void delete_queue(1: string queue_name)

  Status current_status()
  void set_status(1: Status status)

  string get_version()
}
