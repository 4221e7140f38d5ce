import { describe, expect, test } from 'vitest'
import { endpoint, StackPair } from './stack-pair.ts'

const many = {
  maxTcpFlowsPerSource: 20_000,
  maxDialsPerSource: 20_000,
  maxDials: 20_000,
  newFlowsPerSecondPerSource: 1e6,
  newFlowBurstPerSource: 1e6,
}

/** A gateway that echoes every byte, and ends its side when the client ends its own. */
function echoingPair(): StackPair {
  const pair = new StackPair({ client: { limits: many }, gateway: { limits: many } })
  pair.isRecording = false
  pair.onGateway = output => {
    const { gateway, now } = pair
    if (output.type === 'flow-requested') gateway.accept(output.flow, now)
    else if (output.type === 'flow-readable') gateway.write(output.flow, gateway.read(output.flow, now)!, now)
    else if (output.type === 'flow-ended') gateway.shutdown(output.flow, now)
  }
  return pair
}

describe('10 000 flows', () => {
  test('at once: each gets its echo, timers cost no scan, and all memory comes back', () => {
    const pair = echoingPair()
    let echoed = 0
    pair.onClient = output => {
      if (output.type === 'flow-readable') echoed += pair.client.read(output.flow, pair.now)!.length
    }
    const flows: number[] = []
    for (let i = 0; i < 10_000; i++) {
      flows.push(pair.client.openTcp({ remote: endpoint('198.51.100.7', 1 + (i % 60_000)) }, pair.now))
    }
    pair.run()
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 10_000, dials: 0 })
    for (const flow of flows) pair.client.write(flow, Uint8Array.of(1, 2, 3), pair.now)
    pair.run()
    expect(echoed).toBe(30_000)
    // A day of nothing: ten thousand idle timers and their probes.
    pair.advance(10_000)
    expect(pair.gateway.stats().tcpFlows).toBe(10_000)
    for (const flow of flows) pair.client.shutdown(flow, pair.now)
    pair.advance(120_000)
    for (const stack of [pair.client, pair.gateway]) {
      expect(stack.stats()).toMatchObject({ tcpFlows: 0, timeWait: 0, bufferBytes: 0 })
      expect(stack.deadline).toBe(undefined)
    }
  }, 60_000)

  test('one after the other leave nothing behind', () => {
    const pair = echoingPair()
    for (let i = 0; i < 10_000; i++) {
      const flow = pair.client.openTcp({ remote: endpoint('198.51.100.7', 443) }, pair.now)
      pair.run()
      pair.client.abort(flow, pair.now)
      pair.run()
      // Ids are small integers that come back.
      expect(flow).toBeLessThan(1100)
      if (i % 1000 === 0) pair.clientOutputs.length = 0
    }
    for (const stack of [pair.client, pair.gateway]) {
      expect(stack.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0 })
      expect(stack.deadline).toBe(undefined)
    }
  }, 60_000)
})
