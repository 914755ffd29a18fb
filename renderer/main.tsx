import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { locale } from './strings/text.ts';
import { applyTheme } from './views/frame/theme-switch.tsx';
import './styles/all.css';

applyTheme();
document.documentElement.lang = locale;
const root = document.getElementById('root');
if (root === null) throw new Error('the page has no place for the interface');
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
