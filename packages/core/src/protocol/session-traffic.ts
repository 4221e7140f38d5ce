import type { ChannelKind, SessionStats, TrafficCount } from './events.ts'

/** What a session counts. */
export class SessionTraffic {
  probesThrottled = 0
  framesIgnored = 0
  channelChanges = 0
  private readonly inward: Record<ChannelKind, TrafficCount> = zero()
  private readonly outward: Record<ChannelKind, TrafficCount> = zero()

  received(channel: ChannelKind, packets: number, bytes: number): void {
    const count = this.inward[channel]
    count.packets += packets
    count.bytes += bytes
  }

  sent(channel: ChannelKind, packets: number, bytes: number): void {
    const count = this.outward[channel]
    count.packets += packets
    count.bytes += bytes
  }

  snapshot(): SessionStats {
    return {
      received: { stream: { ...this.inward.stream }, datagram: { ...this.inward.datagram } },
      sent: { stream: { ...this.outward.stream }, datagram: { ...this.outward.datagram } },
      channelChanges: this.channelChanges,
      probesThrottled: this.probesThrottled,
      framesIgnored: this.framesIgnored,
    }
  }
}

function zero(): Record<ChannelKind, TrafficCount> {
  return { stream: { packets: 0, bytes: 0 }, datagram: { packets: 0, bytes: 0 } }
}
