import { seededRandom } from '@twinbore/core/runtime'
import { machineComplianceTests } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  DnsForwarder,
  type DnsForwarderOptions,
  type DnsForwarderOutput,
} from '../../../src/egress/sockets/dns-forwarder.ts'
import { failureOf, hasSameQuestion, questionEnd } from '../../../src/egress/sockets/dns-message.ts'

const first = { address: '10.2.0.2', port: 53 }
const second = { address: 'fd02::3', port: 53 }

/** A query for the address of a name (RFC 1035 §4.1), with an EDNS record behind the question. */
function query(name: string, id = 0x1234): Uint8Array {
  const labels = name.split('.').flatMap(label => [label.length, ...new TextEncoder().encode(label)])
  const edns = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
  return Uint8Array.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...labels, 0, 0, 1, 0, 1, ...edns])
}

function answerTo(asked: Uint8Array, id?: number): Uint8Array {
  const answer = asked.slice()
  answer[2] = 0x81
  answer[3] = 0x80
  if (id !== undefined) [answer[0], answer[1]] = [id >> 8, id & 255]
  return answer
}

function forwarder(options: Partial<DnsForwarderOptions> = {}) {
  const machine = new DnsForwarder({ upstreams: [first, second], random: seededRandom(4), ...options })
  const outputs = () => {
    const list: DnsForwarderOutput[] = []
    for (let output = machine.poll(); output; output = machine.poll()) list.push(output)
    return list
  }
  const asked = () => outputs().filter(output => output.type === 'query')
  return { machine, outputs, asked }
}

describe('a query', () => {
  test('goes to the first server under an identifier of its own, and its answer comes back under the client’s', () => {
    const { machine, outputs } = forwarder()
    const ticket = machine.handleQuery('10.77.0.2', query('a.example'), 0)
    const [out] = outputs()
    expect(out).toMatchObject({ type: 'query', upstream: first })
    const sent = (out as { bytes: Uint8Array }).bytes
    expect(sent.subarray(2)).toEqual(query('a.example').subarray(2))
    expect(sent.subarray(0, 2)).not.toEqual(query('a.example').subarray(0, 2))
    machine.handleAnswer(first, answerTo(sent), 1)
    expect(outputs()).toEqual([{ type: 'answer', ticket, bytes: answerTo(query('a.example')) }])
    expect(machine.deadline).toBeUndefined()
    expect(machine.stats()).toMatchObject({ waiting: 0, queries: 1, answers: 1, unsolicited: 0 })
  })

  test('that is not answered is asked again elsewhere, and fails in the end', () => {
    const { machine, outputs } = forwarder()
    const ticket = machine.handleQuery('10.77.0.2', query('a.example'), 0)
    const upstreams: unknown[] = []
    for (const now of [0, 2000, 4000]) {
      const [out] = outputs()
      upstreams.push((out as { upstream: unknown }).upstream)
      expect(machine.deadline).toBe(now + 2000)
      machine.handleDeadline(now + 2000)
    }
    expect(upstreams).toEqual([first, second, first])
    const [failure] = outputs() as { type: string; ticket: number; bytes: Uint8Array }[]
    expect(failure).toMatchObject({ type: 'answer', ticket })
    expect([...failure!.bytes.subarray(0, 12)]).toEqual([0x12, 0x34, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0])
    expect(hasSameQuestion(failure!.bytes, query('a.example'))).toBe(true)
    expect(machine.stats()).toMatchObject({ waiting: 0, failures: 1 })
  })

  test('of one client does not count against another one’s limit', () => {
    const { machine, asked } = forwarder({ maxQueriesPerClient: 3, maxQueries: 5 })
    const tickets = ['a', 'a', 'a', 'a', 'b', 'b', 'b'].map(client =>
      machine.handleQuery(client, query('x.example'), 0),
    )
    expect(tickets.map(ticket => ticket >= 0)).toEqual([true, true, true, false, true, true, false])
    const [sent] = asked()
    machine.handleAnswer(first, answerTo(sent!.bytes), 0)
    expect(machine.handleQuery('a', query('x.example'), 0)).toBeGreaterThan(0)
    expect(machine.stats().dropped).toBe(2)
  })

  test('of a client that left is forgotten', () => {
    const { machine, outputs, asked } = forwarder()
    const ticket = machine.handleQuery('a', query('x.example'), 0)
    machine.handleQuery('b', query('y.example'), 0)
    const [sent] = asked()
    machine.removeClient('a')
    expect(outputs()).toEqual([{ type: 'abandoned', ticket }])
    machine.handleAnswer(first, answerTo(sent!.bytes), 1)
    expect(outputs()).toEqual([])
    expect(machine.stats()).toMatchObject({ waiting: 1, unsolicited: 1 })
  })
})

describe('an answer counts for nothing', () => {
  test.each<[string, (sent: Uint8Array) => [typeof first, Uint8Array]]>([
    ['from another address', sent => [{ address: '10.2.0.9', port: 53 }, answerTo(sent)]],
    ['from another port', sent => [{ address: first.address, port: 5353 }, answerTo(sent)]],
    ['from the other server', sent => [second, answerTo(sent)]],
    ['with another identifier', sent => [first, answerTo(sent, ((sent[0]! << 8) | sent[1]!) ^ 1)]],
    ['with another question', sent => [first, answerTo(query('b.example', (sent[0]! << 8) | sent[1]!))]],
    ['with the question in another case', sent => [first, answerTo(query('A.example', (sent[0]! << 8) | sent[1]!))]],
    ['that is a query', sent => [first, sent]],
    ['that is cut short', sent => [first, answerTo(sent).subarray(0, 11)]],
    ['that is empty', () => [first, new Uint8Array(0)]],
  ])('%s', (_, forge) => {
    const { machine, outputs, asked } = forwarder()
    machine.handleQuery('a', query('a.example'), 0)
    const [sent] = asked()
    machine.handleAnswer(...forge(sent!.bytes), 1)
    expect(outputs()).toEqual([])
    expect(machine.stats()).toMatchObject({ waiting: 1, unsolicited: 1 })
    machine.handleAnswer(first, answerTo(sent!.bytes), 2)
    expect(outputs()).toHaveLength(1)
  })

  test('that comes twice, or after the server was given up', () => {
    const { machine, outputs, asked } = forwarder()
    machine.handleQuery('a', query('a.example'), 0)
    const [sent] = asked()
    machine.handleDeadline(2000)
    machine.handleAnswer(first, answerTo(sent!.bytes), 2001)
    const [again] = asked()
    machine.handleAnswer(second, answerTo(again!.bytes), 2002)
    machine.handleAnswer(second, answerTo(again!.bytes), 2003)
    expect(outputs()).toHaveLength(1)
    expect(machine.stats()).toMatchObject({ answers: 1, unsolicited: 2 })
  })
})

test('identifiers are not used twice at once, and are no sequence', () => {
  const { machine, asked } = forwarder({ maxQueries: 4096, maxQueriesPerClient: 4096 })
  for (let i = 0; i < 4096; i++) machine.handleQuery('a', query('a.example'), 0)
  const ids = asked().map(({ bytes }) => (bytes[0]! << 8) | bytes[1]!)
  expect(new Set(ids).size).toBe(4096)
  const steps = ids.slice(1).map((id, i) => id - ids[i]!)
  expect(new Set(steps).size).toBeGreaterThan(3500)
})

test('whatever arrives is taken or dropped, and never thrown', () => {
  const { machine, outputs } = forwarder({ maxQueries: 50, maxQueriesPerClient: 50 })
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.tuple(fc.nat(39), fc.nat(255)).map(([at, value]) => {
      const mutated = query('some.name.example')
      mutated[at] = value
      return mutated
    }),
  )
  fc.assert(
    fc.property(bytes, fc.boolean(), fc.nat(3000), (message, isQuery, now) => {
      if (isQuery) machine.handleQuery('a', message, now)
      else machine.handleAnswer(first, message, now)
      const end = questionEnd(message)
      if (end !== undefined) expect(questionEnd(failureOf(message, 2))).toBe(end)
      machine.handleDeadline(now)
      outputs()
      expect(machine.stats().waiting).toBeLessThanOrEqual(50)
    }),
    { numRuns: 5000 },
  )
})

describe('as a machine', () => {
  const checks = machineComplianceTests(() => {
    const { machine } = forwarder()
    return {
      machine,
      inputs: [
        now => void machine.handleQuery('a', query('a.example'), now),
        now => void machine.handleQuery('b', query('b.example'), now),
        now => machine.handleAnswer(first, answerTo(query('a.example')), now),
        () => machine.removeClient('b'),
      ],
    }
  })
  test.each(checks)('$name', ({ run }) => run())
})
