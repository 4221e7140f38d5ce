import { ClientSession, type ClientSessionOutput, FrameType, GatewaySession } from '@twinbore/core'
import { type Random, randomBelow, seededRandom } from '@twinbore/core/runtime'
import { expect, test } from 'vitest'
import { writeChannelNotice } from '../../src/protocol/probe-payload.ts'
import { parameters } from './session-kit.ts'

// Any inputs in any order, the peer hostile and the hands late: a session never throws, never loops, says nothing after
// `closed`, and what it says is consistent.

const seed = Number(process.env.FUZZ_SEED ?? 1)
const runs = Number(process.env.FUZZ_RUNS ?? 300)

/** The most that one input may cause. */
const MAX_OUTPUTS = 60

class Watcher {
  active = 'none'
  stream = false
  datagram = false
  closed = false
  readonly session: ClientSession | GatewaySession

  constructor(session: ClientSession | GatewaySession) {
    this.session = session
  }

  drain(): void {
    let count = 0
    for (let out = this.session.poll(); out !== undefined; out = this.session.poll()) {
      if (++count > MAX_OUTPUTS) throw new Error('too many outputs')
      this.check(out)
    }
    expect(this.session.activeChannel).toBe(this.closed ? 'none' : this.active)
    expect(this.session.closed).toBe(this.closed)
    expect(this.session.mtu).toBeGreaterThanOrEqual(576)
    expect(this.session.mtu).toBeLessThanOrEqual(1434)
  }

  private check(out: ClientSessionOutput): void {
    if (this.closed) throw new Error(`${out.type} after closed`)
    if (out.type === 'closed') this.closed = true
    else if (out.type === 'channel-changed') {
      expect(out.from).toBe(this.active)
      expect(out.to).not.toBe(out.from)
      this.active = out.to
    } else if (out.type === 'frame') {
      expect(out.channel === 'stream' ? this.stream : this.datagram).toBe(true)
    } else if (out.type === 'close-stream') this.stream = false
    else if (out.type === 'close-datagram') this.datagram = false
    else if (out.type === 'mtu-changed') expect(out.mtu).toBeGreaterThanOrEqual(576)
  }
}

function step(watcher: Watcher, random: Random, now: number): void {
  const { session } = watcher
  const any = (bound: number) => randomBelow(random, bound)
  const channel = any(2) === 0 ? 'stream' : 'datagram'
  switch (any(14)) {
    case 0:
      watcher.stream = true
      session.streamAttached(parameters({ mtu: 1300 + any(135), idleSeconds: any(2) * 30 }), now)
      break
    case 1:
      session.streamClosed('ended', now)
      watcher.stream = false
      break
    case 2:
      watcher.datagram = true
      session.datagramOpened(any(2000), now)
      break
    case 3:
      session.datagramClosed('unreachable', now)
      watcher.datagram = false
      break
    case 4:
      session.handleMessageTooBig(any(2000), now)
      break
    case 5:
      session.noteReceived(channel, 1 + any(64), 1000, now)
      break
    case 6:
      session.noteSent(channel, 1 + any(64), 1000, now)
      break
    case 7:
      if (session instanceof ClientSession) session.reconnectFailed(any(40) === 0 ? 'refused' : 'timeout', now)
      break
    case 8:
      if (session instanceof ClientSession) session.datagramFailed('handshake-failed', now)
      break
    case 9:
      if (session instanceof ClientSession) session.rekey(now)
      break
    case 10:
      if (any(100) === 0) session.disconnect('administrator', now)
      break
    case 11: {
      const notice = writeChannelNotice(any(2) === 0 ? 'stream' : 'datagram')
      if (channel === 'stream') session.handleStreamFrame(FrameType.dpdRequest, notice, now)
      else session.handleDatagramFrame(FrameType.dpdRequest, notice, now)
      break
    }
    default: {
      // Ids of probes are small: many of these answers are taken for genuine.
      const type = any(60) === 0 ? any(256) : any(2) === 0 ? FrameType.dpdResponse : FrameType.dpdRequest
      const payload = random.fill(new Uint8Array([0, 1, 4, 5, 600, 1400][any(6)]!))
      if (payload.length >= 4) payload.set([0, 0, 0, any(30)])
      if (channel === 'stream') session.handleStreamFrame(type, payload, now)
      else session.handleDatagramFrame(type, payload, now)
    }
  }
}

test.each(['client', 'gateway'])('a %s session takes anything', { timeout: 30_000 + runs * 50 }, role => {
  for (let run = 0; run < runs; run++) {
    const random = seededRandom(seed * 1_000_003 + run)
    const session = role === 'client' ? new ClientSession(parameters(), {}, 0) : new GatewaySession(parameters(), {}, 0)
    const watcher = new Watcher(session)
    let now = 0
    try {
      for (let i = 0; i < 40; i++) {
        step(watcher, random, now)
        watcher.drain()
        now += [0, 1, 30, 200, 3000, 30_000][randomBelow(random, 6)]!
        for (let wakes = 0; session.deadline !== undefined && session.deadline <= now; wakes++) {
          if (wakes > 20_000) throw new Error('a busy loop')
          const at = randomBelow(random, 2) === 0 ? now : session.deadline
          session.handleDeadline(at)
          watcher.drain()
        }
      }
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed}, run ${run} of the ${role}`, { cause: error })
    }
  }
})
