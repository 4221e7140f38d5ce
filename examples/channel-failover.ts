// A session with two channels, in memory and in virtual time: data goes by the datagram channel, which goes dark; it goes
// by the stream until the datagram channel answers again. Nothing above the tunnel notices more than a short delay.
//
//   npx tsx examples/channel-failover.ts
//
// Prints:
//   0.00 s: client: none -> stream (established)
//   0.00 s: gateway: none -> stream (established)
//   0.05 s: client: stream -> datagram (established)
//   0.07 s: gateway: stream -> datagram (established)
//   12.00 s: the datagram channel goes dark
//   12.24 s: client: datagram -> stream (datagram-silent)
//   12.27 s: gateway: datagram -> stream (peer-left-datagram)
//   15.00 s: 1456 of 1500 packets arrived; the longest gap was 261 ms
//   15.00 s: the datagram channel is back
//   15.69 s: client: stream -> datagram (datagram-recovered)
//   15.71 s: gateway: stream -> datagram (peer-returned)
//   18.00 s: 1753 of 1800 packets arrived; the longest gap was 19 ms
import {
  type ChannelKind,
  ClientSession,
  type ClientSessionOutput,
  encodeDatagramFrame,
  FrameType,
  GatewaySession,
  type TunnelParameters,
} from '@twinbore/core'
import { seconds } from '@twinbore/core/runtime'
import { ManualClock, NetworkEmulator } from '@twinbore/core/testing'

const timers = { dpdSeconds: 10, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const
const parameters: TunnelParameters = {
  dns: { servers: [], searchDomains: [], splitDomains: [], tunnelAll: false },
  routes: { include: [], exclude: [] },
  mtu: 1400,
  baseMtu: 1500,
  stream: timers,
  datagram: { ...timers, port: 443, appId: new Uint8Array(32) },
  idleSeconds: 0,
  sessionSeconds: 3600,
  sessionRemainingSeconds: 3600,
  disconnectedSeconds: 300,
  clientBypass: false,
}

const clock = new ManualClock()
const sessions = {
  client: new ClientSession(parameters, {}, clock.now()),
  gateway: new GatewaySession(parameters, {}, clock.now()),
}
type Side = keyof typeof sessions
const links = {
  stream: new NetworkEmulator({ conditions: { latencyMs: 25 } }),
  datagram: new NetworkEmulator({ seed: 7, conditions: { latencyMs: 20, jitterMs: 5, loss: 0.02 } }),
}
const say = (text: string) => console.log(`${(clock.now() / 1000).toFixed(2)} s: ${text}`)
let [sent, arrived, lastArrival, longestGap] = [0, 0, 0, 0]

// The hands: frames go onto a link, and come out of it at the other side. Real ones are a TLS socket and DTLS.
function send(side: Side, channel: ChannelKind, type: FrameType, payload: Uint8Array): void {
  links[channel].send(side === 'client' ? 'outbound' : 'inbound', encodeDatagramFrame(type, payload), clock.now())
}
function receive(side: Side, channel: ChannelKind, frame: Uint8Array): void {
  const [session, type, payload] = [sessions[side], frame[0]!, frame.subarray(1)]
  if (type !== FrameType.data) {
    if (channel === 'stream') session.handleStreamFrame(type, payload, clock.now())
    else session.handleDatagramFrame(type, payload, clock.now())
    return
  }
  session.noteReceived(channel, 1, payload.length, clock.now())
  arrived++
  longestGap = Math.max(longestGap, clock.now() - lastArrival)
  lastArrival = clock.now()
}
function obey(side: Side, output: ClientSessionOutput): void {
  if (output.type === 'frame') send(side, output.channel, output.frameType, output.payload)
  else if (output.type === 'channel-changed') say(`${side}: ${output.from} -> ${output.to} (${output.reason})`)
  else if (output.type === 'open-datagram')
    for (const each of Object.values(sessions)) each.datagramOpened(1435, clock.now())
}

// The client sends a packet each 10 ms; every millisecond what is due happens.
function run(ms: number): void {
  for (const end = clock.now() + ms; clock.now() < end; clock.advance(1)) {
    const { client } = sessions
    if (clock.now() % 10 === 0 && client.activeChannel !== 'none') {
      sent++
      send('client', client.activeChannel, FrameType.data, new Uint8Array(1000))
      client.noteSent(client.activeChannel, 1, 1000, clock.now())
    }
    for (const [channel, link] of Object.entries(links)) {
      link.handleDeadline(clock.now())
      for (let out = link.poll(); out; out = link.poll()) {
        receive(out.direction === 'outbound' ? 'gateway' : 'client', channel as ChannelKind, out.bytes)
      }
    }
    for (const [side, session] of Object.entries(sessions)) {
      session.handleDeadline(clock.now())
      for (let out = session.poll(); out; out = session.poll()) obey(side as Side, out)
    }
  }
}

sessions.gateway.streamAttached(parameters, clock.now())
sessions.client.streamAttached(parameters, clock.now())
run(seconds(12))
longestGap = 0
say('the datagram channel goes dark')
links.datagram.blackhole()
run(seconds(3))
say(`${arrived} of ${sent} packets arrived; the longest gap was ${Math.round(longestGap)} ms`)
say('the datagram channel is back')
links.datagram.restore()
longestGap = 0
run(seconds(3))
say(`${arrived} of ${sent} packets arrived; the longest gap was ${Math.round(longestGap)} ms`)
