// The client's side of services.mjs: each command talks to them and prints one JSON line.
//   node probe.mjs resets ADDRESS COUNT      how many of COUNT streams that were reset behind data looked complete
//   node probe.mjs echo ADDRESS COUNT        COUNT single bytes there and back over one connection
//   node probe.mjs half-close ADDRESS BYTES  sends BYTES and its end, and hears the answer afterwards
//   node probe.mjs udp ADDRESS LENGTH...     datagrams of these lengths, there and back
//   node probe.mjs resolve SERVER NAME...    addresses of names
//   node probe.mjs connect ADDRESS PORT MS   what becomes of a connect within so many milliseconds
//   node probe.mjs dial PORT ADDRESS...      20 connects to each, none of which is waited for; runs until it is ended
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { readSync } from 'node:fs'
import { connect } from 'node:net'

const [, , command, address, ...args] = process.argv

// Node takes a reset that follows data for an end. A read of the descriptor tells the two apart.
function howItEnded(socket) {
  return new Promise(resolve => {
    socket.on('error', () => resolve('reset'))
    socket.on('end', () => {
      try {
        readSync(socket._handle.fd, Buffer.alloc(1), 0, 1, null)
        resolve('end')
      } catch {
        resolve('reset')
      }
    })
  })
}

const commands = {
  async resets(count) {
    const seen = { end: 0, reset: 0, bytes: 0 }
    let left = Number(count)
    const one = async () => {
      while (left-- > 0) {
        const socket = connect({ host: address, port: 7002, allowHalfOpen: true })
        socket.on('data', bytes => {
          seen.bytes += bytes.length
        })
        socket.write('?')
        seen[await howItEnded(socket)]++
        socket.destroy()
      }
    }
    await Promise.all(Array.from({ length: 8 }, one))
    return seen
  },
  async echo(count) {
    const socket = connect({ host: address, port: 7001, noDelay: true })
    let echoed = 0
    for (let i = 0; i < Number(count); i++) {
      socket.write(Buffer.of(i & 255))
      const [byte] = await new Promise((resolve, reject) => {
        socket.once('data', resolve)
        socket.once('close', () => reject(new Error('closed')))
      })
      if (byte === (i & 255)) echoed++
    }
    socket.destroy()
    return { echoed }
  },
  async 'half-close'(count) {
    const socket = connect({ host: address, port: 7003, allowHalfOpen: true })
    const sent = randomBytes(Number(count))
    const chunks = []
    socket.on('data', bytes => chunks.push(bytes))
    socket.end(sent)
    const how = await howItEnded(socket)
    const answer = Buffer.concat(chunks)
    const hash = createHash('sha256').update(sent).digest()
    return { how, isWhole: answer.subarray(0, 32).equals(hash), tailBytes: answer.length - 32 }
  },
  async udp(...lengths) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    const came = []
    for (const length of lengths) {
      const sent = randomBytes(Number(length))
      const answer = new Promise(resolve => socket.once('message', resolve))
      socket.send(sent, 7004, address)
      came.push((await answer).equals(sent))
    }
    socket.close()
    return { came }
  },
  async resolve(...names) {
    const resolver = new Resolver()
    resolver.setServers([address.includes(':') ? `[${address}]` : address])
    return { addresses: await Promise.all(names.map(name => resolver.resolve4(name))) }
  },
  async connect(port, milliseconds) {
    const socket = connect({ host: address, port: Number(port) })
    const outcome = await new Promise(resolve => {
      socket.on('connect', () => resolve('connected'))
      socket.on('error', error => resolve(error.code))
      setTimeout(() => resolve('silence'), Number(milliseconds))
    })
    process.stdout.write(`${JSON.stringify({ outcome })}\n`, () => process.exit())
    return new Promise(() => {})
  },
  async dial(...addresses) {
    for (const host of addresses) {
      for (let i = 0; i < 20; i++) connect({ host, port: Number(address) }).on('error', () => {})
    }
    console.log('dialling')
    return new Promise(() => {})
  },
}

console.log(JSON.stringify(await commands[command](...args)))
