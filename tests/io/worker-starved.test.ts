// A thread of a data plane that gets no processor, on a machine that is overloaded, is not taken for one that hangs.
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { mustRun } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'

const program = fileURLToPath(new URL('../lab/starved-worker.mjs', import.meta.url))
/** Long enough for a thread of the lowest priority to be held up for more than a second. */
const BURN_MS = 4000

interface Told {
  readonly longestMs: number
  readonly lines: readonly { readonly level: string; readonly message: string }[]
  readonly restarts: number
}

needs('tun')('a worker without a processor', () => {
  test('is waited for, and at most told of', async () => {
    const { longestMs, lines, restarts } = JSON.parse(await mustRun(process.execPath, [program, `${BURN_MS}`])) as Told
    console.log(
      `no beat for up to ${longestMs} ms: ${lines.map(({ message }) => message).join(', ') || 'nothing said'}`,
    )
    expect(lines.filter(({ level }) => level !== 'warn')).toEqual([])
    expect(lines.filter(({ message }) => !message.includes('too little processor time'))).toEqual([])
    expect(restarts).toBe(0)
  })
})
