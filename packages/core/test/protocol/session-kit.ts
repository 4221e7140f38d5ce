import { type ClientSessionOutput, FrameType, type TunnelParameters, type TunnelSession } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { Milliseconds } from '@twinbore/core/runtime'

const timers = { dpdSeconds: 10, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const

/** What a gateway granted, for tests. */
export function parameters(changes: Partial<TunnelParameters> = {}): TunnelParameters {
  return {
    ipv4: { address: IpAddress.parse('192.168.77.2')!, netmask: IpAddress.parse('255.255.255.0')! },
    dns: { servers: [], searchDomains: [], splitDomains: [], tunnelAll: false },
    routes: { include: [], exclude: [] },
    mtu: 1434,
    baseMtu: 1500,
    stream: timers,
    datagram: { ...timers, port: 443, appId: new Uint8Array(32) },
    idleSeconds: 0,
    sessionSeconds: 3600,
    sessionRemainingSeconds: 3600,
    disconnectedSeconds: 300,
    clientBypass: false,
    ...changes,
  }
}

/** A session machine and what it says, in short words. */
export class SessionProbe<Session extends TunnelSession<ClientSessionOutput>> {
  now: Milliseconds
  readonly session: Session
  /** Frames as they were put out. */
  readonly frames: Extract<ClientSessionOutput, { type: 'frame' }>[] = []

  constructor(session: Session, now: Milliseconds = 0) {
    this.session = session
    this.now = now
  }

  /** Gives an input, and says what came of it. */
  do(input: (session: Session, now: Milliseconds) => void): string[] {
    input(this.session, this.now)
    return this.drain()
  }

  /** Lets time pass, and says what happened. */
  wait(ms: Milliseconds): string[] {
    const until = this.now + ms
    const seen: string[] = []
    while (this.session.deadline !== undefined && this.session.deadline <= until) {
      this.now = Math.max(this.now, this.session.deadline)
      this.session.handleDeadline(this.now)
      seen.push(...this.drain())
    }
    this.now = until
    return seen
  }

  /** The last frame of a type on a channel. */
  lastFrame(channel: 'stream' | 'datagram', type: FrameType): Uint8Array {
    const frame = this.frames.findLast(each => each.channel === channel && each.frameType === type)
    if (frame === undefined) throw new Error(`no frame ${type} on ${channel}`)
    return frame.payload
  }

  /** Answers the last probe on the datagram channel, as a peer does that echoes. */
  echo(): string[] {
    const payload = this.lastFrame('datagram', FrameType.dpdRequest)
    return this.do((session, now) => session.handleDatagramFrame(FrameType.dpdResponse, payload, now))
  }

  private drain(): string[] {
    const seen: string[] = []
    for (let out = this.session.poll(); out !== undefined; out = this.session.poll()) {
      if (out.type === 'frame') this.frames.push(out)
      seen.push(describe(out))
    }
    return seen
  }
}

function describe(output: ClientSessionOutput): string {
  switch (output.type) {
    case 'frame':
      return `${output.channel} ${frameName(output.frameType)} ${output.payload.length}`
    case 'channel-changed':
      return `${output.from}>${output.to} ${output.reason}`
    case 'mtu-changed':
      return `mtu ${output.mtu}`
    case 'closed':
      return `closed ${output.reason}`
    case 'reconnect-stream':
      return `reconnect-stream ${output.cause} ${output.attempt}`
    case 'open-datagram':
      return `open-datagram ${output.attempt}`
    default:
      return output.type
  }
}

function frameName(type: FrameType): string {
  return Object.entries(FrameType).find(([, value]) => value === type)![0]
}
