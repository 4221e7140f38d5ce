// The route table compared with the kernel's: the same routes in a network namespace of this test, and many questions to both.
import { execFileSync } from 'node:child_process'
import { IpAddress, Prefix, type RouteEntry, RouteTable } from '@twinbore/core/address'
import { seededRandom } from '@twinbore/core/runtime'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'

const namespace = `twinbore-routes-${process.pid}`
const links = 4

const ip = (args: readonly string[], input?: string) =>
  execFileSync('ip', args, { input: input ?? '', timeout: 30_000, maxBuffer: 64 << 20 }).toString()

const random = seededRandom(21)

/** Nested and neighbouring prefixes inside one block; the value says which link they lead to. */
function randomRoutes(family: 4 | 6, count: number): RouteEntry[] {
  // One route around them all, so that the kernel has an answer to every question.
  const around = { prefix: Prefix.of(family === 4 ? '50.0.0.0/8' : '2000::/8'), value: 0 }
  const known = new Map<string, RouteEntry>([[`${around.prefix}`, around]])
  while (known.size < count) {
    const prefix = Prefix.of(
      randomAddress(family),
      family === 4 ? 9 + (random.uint32() % 24) : 20 + (random.uint32() % 109),
    )
    known.set(`${prefix}`, { prefix, value: random.uint32() % links })
  }
  return [...known.values()]
}

/** From a block, with few different bytes, so that questions meet long prefixes. */
function randomAddress(family: 4 | 6): IpAddress {
  const bytes = new Uint8Array(family === 4 ? 4 : 16).map(() => random.uint32() & 0x33)
  bytes[0] = family === 4 ? 50 : 0x20
  return IpAddress.fromBytes(bytes)
}

needs('root', 'ip')('the route table and the kernel agree', () => {
  beforeAll(() => {
    ip(['netns', 'add', namespace])
    for (let i = 0; i < links; i++) {
      ip(['-n', namespace, 'link', 'add', `a${i}`, 'type', 'veth', 'peer', 'name', `b${i}`])
      for (const end of ['a', 'b']) ip(['-n', namespace, 'link', 'set', `${end}${i}`, 'up'])
    }
  })
  afterAll(() => {
    ip(['netns', 'delete', namespace])
  })

  describe.each([4, 6] as const)('IPv%d', family => {
    test('2000 routes answer 20000 questions like the kernel', () => {
      const routes = randomRoutes(family, 2000)
      const commands = routes.map(({ prefix, value }) => `route add ${prefix} dev a${value}\n`).join('')
      ip(['-n', namespace, `-${family}`, '-batch', '-'], commands)
      const table = RouteTable.compile(routes)
      const questions = Array.from({ length: 20_000 }, () => randomAddress(family))
      const answers = ip(
        ['-n', namespace, `-${family}`, '-oneline', '-batch', '-'],
        questions.map(address => `route get ${address}\n`).join(''),
      )
      const actual = [...answers.matchAll(/^(\S+) .*?\bdev a(\d)/gm)].map(match => `${match[1]} ${match[2]}`)
      const expected = questions.map(address => `${address} ${table.lookupAddress(address)}`)
      expect(actual).toEqual(expected)
    })
  })
})
