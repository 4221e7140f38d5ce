// Many sessions of one gateway in one process, each with both channels. Takes a command a line, answers each by a line of JSON.
//
//   arguments: URL PIN USER PASSWORD ECHO-ADDRESS ECHO-PORT
//   open COUNT CONCURRENCY           more sessions, so many logins at once
//   reconnect CONCURRENCY            every stream is cut, and each session comes back with its cookie
//   exchange CHANNEL CONCURRENCY     each session sends a packet by that channel until it has come back
//   ping COUNT INTERVAL-MS           the last session sends packets one by one
//   flood SECONDS RATE               the first session sends so many datagrams a second
//   close                            all say goodbye
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { ClientReason, encodeDatagramFrame, FrameType, PSK_NEGOTIATE } from '@twinbore/core'
import { ControlClient, StreamChannel } from '@twinbore/core/io'
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import { DtlsAssociation } from '@twinbore/dtls'
import { nodeRandom, systemCrypto } from '@twinbore/dtls/io'
import { openDatagramSocket } from '@twinbore/tun/io'

const [url, pin, username, password, echoAddress, echoPort] = process.argv.slice(2)
const control = new ControlClient({ url, serverPin: pin })
const request = {
  hostname: 'load',
  ipv4: true,
  ipv6: false,
  fullIpv6: false,
  addresses: [],
  baseMtu: 1500,
  streamEncodings: [],
  device: {},
  datagram: { cipherSuites: [PSK_NEGOTIATE], dtls12CipherSuites: [], encodings: [] },
}
// One of each serves all sessions: what is in them is gone before the next one's turn.
const incoming = new PacketBatch({ capacity: 64 })
const fromStream = new PacketBatch({ capacity: 64 })
const sessions = []
/** Nobody answers there: what comes back is what the system's limit of ICMP errors lets through. */
const discardPort = 9
const ipAndUdpBytes = 28
const patienceMs = 1000
const maxTries = 10

class Session {
  lost = false
  #login
  #parameters
  #stream
  #socket
  #association
  #gateway
  #nextNumber = 0
  #waiting = new Map()
  #established
  #failed

  static async open() {
    const session = new Session()
    session.#login = await control.login({ username, password })
    // From now on its deadlines are kept: a handshake may lose a datagram.
    sessions.push(session)
    await session.connect()
  }

  /** CONNECT and the DTLS handshake; also for a session that was cut. */
  async connect() {
    const { parameters, socket, head, pskKey, remoteAddress } = await control.connect({ ...this.#login, request })
    this.#parameters = parameters
    const stream = new StreamChannel(
      socket,
      {
        onPackets: batch => this.#take(batch, 0),
        onControl: (type, payload) => {
          if (type === FrameType.dpdRequest) stream.sendFrame(FrameType.dpdResponse, payload)
          else if (type === FrameType.disconnect || type === FrameType.terminate) this.lost = true
        },
        onClosed: () => {
          if (stream === this.#stream) this.lost = true
        },
      },
      { batch: fromStream },
    )
    this.#stream = stream
    stream.start(head)
    this.#socket?.close()
    this.#socket = await openDatagramSocket({ address: '0.0.0.0', endpoints: 4, gso: false, gro: false })
    this.#socket.onReadable = () => this.#receive()
    this.#gateway = this.#socket.endpoints.intern(remoteAddress, parameters.datagram.port)
    this.#socket.endpoints.retain(this.#gateway)
    this.#association = new DtlsAssociation({
      role: 'client',
      crypto: systemCrypto,
      random: nodeRandom,
      psk: { identity: 'psk', key: pskKey },
      sessionId: parameters.datagram.appId,
    })
    await new Promise((resolve, reject) => {
      this.#established = resolve
      this.#failed = reject
      this.#association.start(performance.now())
      this.#settle()
    })
  }

  cut() {
    const stream = this.#stream
    this.#stream = undefined
    stream.destroy()
  }

  /** Sends a packet; resolves with its round trip when it is back, or with `undefined` when it was lost. */
  async roundTrip(channel, patience) {
    const number = this.#nextNumber++
    const began = performance.now()
    const back = new Promise(resolve => this.#waiting.set(number, resolve))
    this.send(channel, number)
    const timer = setTimeout(() => this.#waiting.get(number)?.(true), patience)
    const isLost = await back
    clearTimeout(timer)
    this.#waiting.delete(number)
    return isLost ? undefined : performance.now() - began
  }

  send(channel, number, port = Number(echoPort)) {
    const payload = Buffer.alloc(64)
    payload.writeUInt32BE(number)
    const packet = udpPacket({
      source: this.#parameters.ipv4.address,
      sourcePort: 40_000,
      destination: echoAddress,
      destinationPort: port,
      payload,
    })
    if (channel === 'stream') this.#stream.sendPacket(packet, 0, packet.length)
    else this.#frame(FrameType.data, packet)
  }

  handleDeadline(now) {
    const deadline = this.#association?.deadline
    if (deadline === undefined || deadline > now) return
    this.#association.handleDeadline(now)
    this.#settle()
  }

  close() {
    this.#stream.sendFrame(FrameType.disconnect, Uint8Array.of(ClientReason.userLeft))
    this.#stream.end()
    this.#stream = undefined
    this.#association.close(performance.now())
    this.#settle()
    this.#socket.close()
  }

  #frame(type, payload) {
    this.#association.send(encodeDatagramFrame(type, payload), performance.now())
    this.#settle()
  }

  #take(batch, headerBytes) {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const at = batch.offsets[slot] + headerBytes
      if (batch.lengths[slot] >= headerBytes + ipAndUdpBytes + 4) {
        this.#waiting.get(batch.view.getUint32(at + ipAndUdpBytes))?.(false)
      }
    }
  }

  #receive() {
    const now = performance.now()
    do {
      incoming.reset()
      this.#socket.receive(incoming)
      this.#association.openDatagrams(incoming, now)
      for (let slot = 0; slot < incoming.count; slot++) {
        if (incoming.verdicts[slot] !== Verdict.forward || incoming.lengths[slot] === 0) continue
        const offset = incoming.offsets[slot]
        if (incoming.bytes[offset] !== FrameType.dpdRequest) continue
        this.#frame(FrameType.dpdResponse, incoming.bytes.slice(offset + 1, offset + incoming.lengths[slot]))
      }
      this.#take(incoming, 1)
    } while (!this.#socket.drained)
    this.#settle()
  }

  #settle() {
    for (let output = this.#association.poll(); output; output = this.#association.poll()) {
      if (output.type === 'transmit') this.#socket.sendTo(this.#gateway, output.bytes)
      else if (output.type === 'established') this.#established()
      else if (output.type === 'closed') {
        const { reason, error } = output
        this.#failed(new Error(`the datagram channel closed: ${reason}`, { cause: error }))
      }
    }
  }
}

const timed = async action => {
  const began = performance.now()
  const result = await action()
  return { ...result, seconds: (performance.now() - began) / 1000 }
}

/** Runs `action` for each of the items, so many at once. */
async function each(items, concurrency, action) {
  const left = items[Symbol.iterator]()
  const work = async () => {
    for (const item of left) await action(item)
  }
  await Promise.all(Array.from({ length: concurrency }, work))
}

const summary = times => {
  const sorted = times.toSorted((a, b) => a - b)
  const at = part => sorted[Math.floor((sorted.length - 1) * part)] ?? Number.POSITIVE_INFINITY
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), max: at(1) }
}

const commands = {
  async open(count, concurrency) {
    await each(Array(Number(count)).keys(), Number(concurrency), () => Session.open())
    return { sessions: sessions.length }
  },
  async reconnect(concurrency) {
    for (const session of sessions) session.cut()
    await each(sessions, Number(concurrency), session => session.connect())
    return { lost: sessions.filter(({ lost }) => lost).length }
  },
  async exchange(channel, concurrency) {
    const times = []
    let repeated = 0
    await each(sessions, Number(concurrency), async session => {
      for (let tries = 0; tries < maxTries; tries++) {
        const time = await session.roundTrip(channel, patienceMs)
        if (time !== undefined) return void times.push(time)
        repeated++
      }
    })
    return { ...summary(times), repeated, lost: sessions.filter(({ lost }) => lost).length }
  },
  async ping(count, intervalMs) {
    const session = sessions.at(-1)
    const answers = []
    for (let n = 0; n < count; n++) {
      answers.push(session.roundTrip('datagram', patienceMs))
      await wait(Number(intervalMs))
    }
    const times = (await Promise.all(answers)).filter(time => time !== undefined)
    return { ...summary(times), sent: Number(count) }
  },
  async flood(seconds, rate) {
    const began = performance.now()
    let sent = 0
    for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - began) {
      for (let n = 0; n < 64 && sent < (elapsed / 1000) * rate; n++) {
        sessions[0].send('datagram', 0xffff_ffff, discardPort)
        sent++
      }
      await new Promise(setImmediate)
    }
    return { sent }
  },
  async close() {
    for (const session of sessions.splice(0)) session.close()
    return {}
  },
}

setInterval(() => {
  const now = performance.now()
  for (const session of sessions) session.handleDeadline(now)
}, 100)
const lines = createInterface({ input: process.stdin })
lines.on('line', async line => {
  const [name, ...words] = line.split(' ')
  console.log(JSON.stringify({ command: name, ...(await timed(() => commands[name](...words))) }))
})
console.log('ready')
await once(lines, 'close')
process.exit()
