/**
 * From whom an inside endpoint takes datagrams: hosts that it has sent to, from any of their ports (address-dependent
 * filtering, RFC 4787 REQ-8). Bounded: the host that was sent to longest ago makes room.
 */
export class AddressFilter {
  private readonly capacity: number
  /** In the order of the last datagram to each. */
  private readonly addresses: Set<string> = new Set()
  private latest: string | undefined

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Something goes to `address`. */
  open(address: string): void {
    if (address === this.latest) return
    this.latest = address
    if (!this.addresses.delete(address) && this.addresses.size >= this.capacity) {
      const [oldest] = this.addresses
      if (oldest !== undefined) this.addresses.delete(oldest)
    }
    this.addresses.add(address)
  }

  admits(address: string): boolean {
    return address === this.latest || this.addresses.has(address)
  }
}
