import type { IpAddress } from '@twinbore/core/address'
import { IpProtocol, type PacketBatch, transportProtocol, Verdict } from '@twinbore/core/packet'
import type { PacketDevice, PacketDeviceStats } from '@twinbore/tun'
import { type AddressSwap, type EmbeddedField, swapEmbeddedAddress } from './embedded-address.ts'

/** An address of the host and the one that stands for it on the device. */
export interface AddressPair {
  readonly host: IpAddress
  readonly transit: IpAddress
}

/**
 * Completes what the rules of `translate` by port begin. The rules exchange transit address and host address in the IP
 * header; an ICMP error carries a second one, of the packet that it is about. Read from the host, an error about a packet
 * of a client names the host's address as its source: here it becomes the transit address, which the translator knows.
 * Written to the host, an error about a packet for a client names the transit address as destination: it becomes the
 * host's (that of the first pair of the family: with several interfaces, the one where most traffic is).
 */
export class HostAddressDevice implements PacketDevice {
  private readonly inner: PacketDevice
  private readonly sourceSwaps: readonly AddressSwap[]
  private readonly destinationSwaps: readonly AddressSwap[]

  constructor(inner: PacketDevice, pairs: readonly AddressPair[]) {
    this.inner = inner
    this.sourceSwaps = pairs.map(({ host, transit }) => ({ from: host, to: transit }))
    this.destinationSwaps = pairs.map(({ host, transit }) => ({ from: transit, to: host }))
  }

  get name(): string {
    return this.inner.name
  }

  get mtu(): number {
    return this.inner.mtu
  }

  get superPackets(): boolean {
    return this.inner.superPackets
  }

  get superDatagrams(): boolean {
    return this.inner.superDatagrams
  }

  get maxPacketBytes(): number {
    return this.inner.maxPacketBytes
  }

  get descriptor(): number | undefined {
    return this.inner.descriptor
  }

  get onReadable(): (() => void) | undefined {
    return this.inner.onReadable
  }

  set onReadable(handler: (() => void) | undefined) {
    this.inner.onReadable = handler
  }

  get onLost(): PacketDevice['onLost'] {
    return this.inner.onLost
  }

  set onLost(handler: PacketDevice['onLost']) {
    this.inner.onLost = handler
  }

  read(batch: PacketBatch): number {
    const first = batch.count
    const added = this.inner.read(batch)
    for (let slot = first; slot < batch.count; slot++) {
      this.swap(batch, slot, 'source')
    }
    return added
  }

  write(batch: PacketBatch): number {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward || isFlow(batch.locations[slot]!)) continue
      this.swap(batch, slot, 'destination')
    }
    return this.inner.write(batch)
  }

  close(): void {
    this.inner.close()
  }

  stats(): PacketDeviceStats {
    return this.inner.stats()
  }

  private swap(batch: PacketBatch, slot: number, field: EmbeddedField): void {
    for (const swap of field === 'source' ? this.sourceSwaps : this.destinationSwaps) {
      if (swapEmbeddedAddress(batch.view, batch.offsets[slot]!, batch.lengths[slot]!, field, swap)) return
    }
  }
}

/** Whether a packet that a stage has looked at is one of TCP or UDP: it carries no other. */
function isFlow(location: number): boolean {
  const protocol = location === 0 ? 0 : transportProtocol(location)
  return protocol === IpProtocol.tcp || protocol === IpProtocol.udp
}
