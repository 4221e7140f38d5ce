// Many flows from our own client, over several sessions of the same user, to flow-services.mjs:
//   node flow-load.mjs URL PIN USER PASSWORD ADDRESS SESSIONS
// Prints "ready" when all sessions have their datagram channel, then reads commands, one a line, and answers each with
// one JSON line, with the seconds that it took:
//   open COUNT           opens flows and keeps them
//   echo                 each open flow sends bytes of its own, all at once, and awaits them back
//   close                ends each open flow and waits for its end
//   churn SECONDS RATE   flows that connect, echo, end; so many new ones a second at most
//   slow COUNT           COUNT readers in the first session take 1 kB a second of 10 MB; answers once each has 3 kB
//   download SESSION     reads 10 MB in that session, beside whatever else goes on
//   abandon              destroys the slow readers; tells how much each had read
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, stackInterface } from '@twinbore/gateway-ref'

const [, , url, serverPin, username, password, host, sessionCount] = process.argv
// Below what one client may have under way to one destination, and may open in a second.
const atOnce = 24
const newPerSecond = 180
const floodPort = 7111

const tunnels = []
for (let i = 0; i < Number(sessionCount); i++) {
  const tunnel = await connect({ url, serverPin, credentials: { username, password }, interface: stackInterface() })
  tunnels.push(tunnel)
  while (tunnel.activeChannel !== 'datagram') await once(tunnel, 'channel-changed')
}

let dialled = 0
const open = []
const slow = []

async function dial(tunnel, port = 7101 + (dialled++ % 10)) {
  const socket = tunnel.connect({ host, port })
  await once(socket, 'connect')
  // Whoever waits for something hears of a failure there.
  socket.on('error', () => {})
  return socket
}

/** Runs `one(tunnel, n)` in all sessions until `more(n)` says no, `rate` times a second at most. */
async function spread(rate, more, one) {
  const failures = {}
  let done = 0
  let started = 0
  const session = async tunnel => {
    const every = (1000 * tunnels.length) / rate
    let next = performance.now()
    const worker = async () => {
      while (more(started)) {
        const n = started++
        const at = next
        next = Math.max(next, performance.now() - every) + every
        const early = at - performance.now()
        if (early > 0) await sleep(early)
        try {
          await one(tunnel, n)
          done++
        } catch (error) {
          const what = error.code ?? error.message
          failures[what] = (failures[what] ?? 0) + 1
        }
      }
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
  }
  await Promise.all(tunnels.map(session))
  return { done, failures }
}

/** Sends bytes that no other flow sends and awaits exactly them. */
function echo(socket, n) {
  const sent = Buffer.alloc(64, `flow ${n}. `)
  return new Promise((resolve, reject) => {
    const parts = []
    let length = 0
    const fail = error => reject(error ?? new Error('closed'))
    const onData = bytes => {
      parts.push(bytes)
      length += bytes.length
      if (length < sent.length) return
      socket.off('data', onData).off('error', fail).off('close', fail)
      if (Buffer.concat(parts).equals(sent)) resolve()
      else reject(new Error('other bytes'))
    }
    socket.on('data', onData).on('error', fail).on('close', fail)
    socket.write(sent)
  })
}

async function finish(socket) {
  const closed = once(socket, 'close')
  socket.end()
  socket.resume()
  await closed
  if (!socket.readableEnded) throw new Error('no end')
}

function tally(results) {
  const failures = {}
  for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
    const what = reason.code ?? reason.message
    failures[what] = (failures[what] ?? 0) + 1
  }
  return { done: results.filter(({ status }) => status === 'fulfilled').length, failures }
}

async function readSlowly(reader) {
  while (!reader.socket.destroyed) {
    await sleep(1000, undefined, { ref: false })
    reader.read += reader.socket.read(1000)?.length ?? 0
  }
}

const commands = {
  open: count =>
    spread(
      newPerSecond * tunnels.length,
      started => started < Number(count),
      async tunnel => open.push(await dial(tunnel)),
    ),
  echo: async () => tally(await Promise.allSettled(open.map(echo))),
  close: async () => tally(await Promise.allSettled(open.splice(0).map(finish))),
  churn(seconds, rate) {
    const until = performance.now() + Number(seconds) * 1000
    return spread(
      Number(rate),
      () => performance.now() < until,
      async (tunnel, n) => {
        const socket = await dial(tunnel)
        await echo(socket, n)
        await finish(socket)
      },
    )
  },
  async slow(count) {
    for (let i = 0; i < Number(count); i++) {
      const reader = { socket: await dial(tunnels[0], floodPort), read: 0 }
      slow.push(reader)
      void readSlowly(reader)
    }
    while (slow.some(({ read }) => read < 3000)) await sleep(100)
    return { readers: slow.length }
  },
  async download(session) {
    const socket = await dial(tunnels[Number(session)], floodPort)
    let bytes = 0
    for await (const part of socket) bytes += part.every(byte => byte === 7) ? part.length : Number.NaN
    return { bytes }
  },
  async abandon() {
    const alive = slow.filter(({ socket }) => !socket.destroyed).length
    for (const { socket } of slow) socket.destroy()
    return { alive, read: slow.splice(0).map(({ read }) => read) }
  },
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = line.split(' ')
  const began = performance.now()
  const answer = await commands[name](...args)
  console.log(JSON.stringify({ command: name, seconds: (performance.now() - began) / 1000, ...answer }))
}
for (const tunnel of tunnels) await tunnel.stop()
