// A Containerfile as a list of instructions.
import { readFileSync } from 'node:fs'

export interface Instruction {
  readonly name: string
  readonly text: string
}

/** The instructions of each stage, the last stage last; what stands before the first FROM belongs to none. */
export function readStages(file: string): Instruction[][] {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => !/^\s*(#|$)/.test(line))
    .join('\n')
    .replaceAll('\\\n', ' ')
    .split('\n')
  const stages: Instruction[][] = []
  for (const line of lines) {
    const [, name, text] = /^\s*([A-Z]+)\s+(.*)$/.exec(line) ?? []
    if (name === undefined || text === undefined) throw new Error(`${file}: not an instruction: ${line}`)
    if (name === 'FROM') stages.push([])
    stages.at(-1)?.push({ name, text: text.replace(/\s+/g, ' ') })
  }
  return stages
}

/** The texts of every instruction of a name. */
export function textsOf(stage: readonly Instruction[], name: string): string[] {
  return stage.filter(instruction => instruction.name === name).map(({ text }) => text)
}

/** The words of ENTRYPOINT, CMD or HEALTHCHECK in their form without a shell: the JSON array at the end. */
export function wordsOf(stage: readonly Instruction[], name: string): string[] {
  const text = textsOf(stage, name).at(-1) ?? ''
  return JSON.parse(text.slice(text.indexOf('['))) as string[]
}
