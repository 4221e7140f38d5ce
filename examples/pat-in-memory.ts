// Two clients share one outside address: packets go out, answers find their way back, strangers get nothing, an ICMP error
// is translated with the packet that it carries, and an idle mapping ends. All in memory: packets are bytes, time is a
// number.
//
//   npx tsx examples/pat-in-memory.ts
//
// Prints:
//   mapping: 10.8.0.2.5353 = 203.0.113.7.59093
//   outbound IP 203.0.113.7.59093 > 198.51.100.53.53: UDP, length 30
//   mapping: 10.8.0.3.5353 = 203.0.113.7.45514
//   outbound IP 203.0.113.7.45514 > 198.51.100.53.53: UDP, length 30
//   inbound  IP 198.51.100.53.53 > 10.8.0.3.5353: UDP, length 90
//   inbound  IP 198.51.100.53.53 > 10.8.0.2.5353: UDP, length 90
//   inbound  dropped: filtered
//   inbound  IP 192.0.2.1 > 10.8.0.2: ICMP host 198.51.100.53 unreachable, length 66
//   after 300 s idle: 10.8.0.3 has no mapping
//   after 300 s idle: 10.8.0.2 has no mapping
import { dropReasonName, PacketBatch, packetText, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { icmpErrorPacket, packetView, udpPacket } from '@twinbore/core/testing'
import { Translator } from '@twinbore/pat'

// A seeded generator, so that the example prints the same ports every time. In earnest it is `systemRandom` of core/io.
const translator = new Translator({
  random: seededRandom(7),
  outsideAddresses: ['203.0.113.7'],
  insidePrefixes: ['10.8.0.0/24'],
  logMappings: true,
})
const batch = new PacketBatch()
let now = 0

/** Sends one packet through the translator and says what became of it. */
function translate(direction: 'outbound' | 'inbound', packet: Uint8Array): Uint8Array {
  batch.reset()
  const slot = batch.push(packet)
  if (direction === 'outbound') translator.translateOutbound(batch, now)
  else translator.translateInbound(batch, now)
  for (let output = translator.poll(); output; output = translator.poll()) {
    if (output.type !== 'mapping-created') continue
    console.log(
      `mapping: ${output.inside.address}.${output.inside.port} = ${output.outside.address}.${output.outside.port}`,
    )
  }
  const forwarded = batch.verdicts[slot] === Verdict.forward
  const reason = dropReasonName(batch.drops.findIndex(count => count > 0))
  batch.drops.fill(0)
  console.log(`${direction.padEnd(8)} ${forwarded ? packetText(batch.packet(slot)) : `dropped: ${reason}`}`)
  return batch.packet(slot).slice()
}

const question = { destination: '198.51.100.53', sourcePort: 5353, destinationPort: 53, payload: new Uint8Array(30) }
const [first, second] = ['10.8.0.2', '10.8.0.3'].map(source =>
  translate('outbound', udpPacket({ source, ...question })),
)

for (const sent of [second!, first!]) {
  const ends = { source: '198.51.100.53', sourcePort: 53, destination: '203.0.113.7' }
  translate(
    'inbound',
    udpPacket({ ...ends, destinationPort: packetView(sent).getUint16(20), payload: new Uint8Array(90) }),
  )
}

const stranger = { source: '192.0.2.66', sourcePort: 53, destination: '203.0.113.7' }
translate('inbound', udpPacket({ ...stranger, destinationPort: packetView(first!).getUint16(20) }))

translate(
  'inbound',
  icmpErrorPacket({ source: '192.0.2.1', destination: '203.0.113.7', type: 3, code: 1, about: first! }),
)

now = 300_000
translator.handleDeadline(now)
for (let output = translator.poll(); output; output = translator.poll()) {
  if (output.type === 'mapping-expired')
    console.log(`after ${now / 1000} s idle: ${output.inside.address} has no mapping`)
}
