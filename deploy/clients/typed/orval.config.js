// One file of functions over fetch. What they have in common (address, token, reading the body) is in request.ts.
export default {
  copilot: {
    input: './generated/openapi.json',
    output: {
      target: './generated/orval.ts',
      client: 'fetch',
      override: { mutator: { path: './request.ts', name: 'request', extension: '.js' } },
    },
  },
};
