#!/usr/bin/env node
import { main } from './cli/io/main.ts'

process.exitCode = await main(process.argv.slice(2))
