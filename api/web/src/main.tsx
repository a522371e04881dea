// The playground begins.

import './strict';
import './styles/index.css';

import { createRoot } from 'react-dom/client';

import { App } from './page/App';

const root = document.getElementById('root');
if (root) createRoot(root).render(<App />);
