/**
 * Finds out that a thread hangs: its heartbeat has stood still at so many looks in a row. Looks are counted, not time, so that a
 * watcher that was held up itself draws no conclusion from that.
 */
export class HeartbeatWatch {
  private readonly mostLooks: number
  private last = -1
  private looks = 0

  /** @param mostLooks - how many looks without a beat mean that it hangs. */
  constructor(mostLooks: number) {
    this.mostLooks = mostLooks
  }

  /** Takes a look. Returns whether the thread hangs. */
  look(heartbeat: number): boolean {
    this.looks = heartbeat === this.last ? this.looks + 1 : 0
    this.last = heartbeat
    return this.looks >= this.mostLooks
  }
}
